"""DCE/RPC over TCP (C706, MS-RPCE), as Exchange 2010 and its Outlooks speak it."""

"""The load of the benchmark: clients (``python -m bench.load``) and servers (``bench.load.origin``).

Plain epoll in processes of their own. Every byte that comes back is compared with what was sent.
"""

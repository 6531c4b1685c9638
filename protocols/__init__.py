"""What exproxy speaks: one module or folder for each protocol, beside the framework that carries them."""

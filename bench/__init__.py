"""Measurements by hand, beside other proxies."""

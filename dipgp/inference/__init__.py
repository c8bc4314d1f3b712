"""Fitting and sampling the parameters of a network, given a function of them."""

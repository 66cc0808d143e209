"""SRU and CRU on a CUDA GPU: what is between torch's products and convolutions is Triton programs.

run.py says what takes the place of which layers, check.py compares both at the first use on a GPU.
"""

"""The paper's mode: a causal language model reads the configuration and gives the loss.

Read in this order: quantities, prompt, sequence, network, base, train, pipeline, bundle. Method:
arXiv 2602.10300 and its repository zhqwqwq/Configuration-to-Performance-Scaling-Law (MIT).
"""

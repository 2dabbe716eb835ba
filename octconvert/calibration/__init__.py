"""Weights and statistics of a converted model, fitted on images: unlabelled ones or synthetic ones."""

"""Training a converted model: distillation and its optimizer."""

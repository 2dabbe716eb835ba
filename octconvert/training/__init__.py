"""Training a converted model towards its source: `distillation` is the public function, the rest are its parts."""

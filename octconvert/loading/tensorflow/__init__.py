"""TensorFlow functions between the layers of tf.keras 2 models, written with Keras layers and operations."""

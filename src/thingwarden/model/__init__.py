"""Models as devices behind the Scorer port: ONNX Runtime, never torch."""

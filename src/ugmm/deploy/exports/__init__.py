"""Exports: an ONNX file, an archive of torch.export, a folder for a hub of models."""

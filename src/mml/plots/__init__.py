"""One function a picture: arrays in, matplotlib figure out."""

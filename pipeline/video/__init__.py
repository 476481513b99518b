"""Videos of a policy: the camera, what it sees, and the encoders."""

"""What clients ask of a run that exists, written by the ingress without a version check."""

"""Serves the agents people declare in manifests of their own."""

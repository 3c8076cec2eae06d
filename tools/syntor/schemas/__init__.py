"""Generates the JSON Schemas and the AsyncAPI document from the contracts, and refuses incompatible changes."""

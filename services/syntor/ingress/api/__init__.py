"""The resources of the API, one module each: their routes, what they read and what they reply."""

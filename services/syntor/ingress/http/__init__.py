"""What every HTTP request has in common: middleware, problems, access, reading, the route table, its description."""

"""The projector: folds the log into tables and serves queries from them."""

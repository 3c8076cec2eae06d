"""The projector: folds the log into tables and answers queries from them."""

"""Pure decisions about runs and sessions."""

"""Events of budgets."""

"""Token budgets: what is limited, what a request costs, what became of it. Pure values."""

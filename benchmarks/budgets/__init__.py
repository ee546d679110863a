"""What a budget decision costs, beside what else there is."""

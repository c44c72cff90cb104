"""Facts of a study that several sources hold in parts: shapes, budgets, how runs are named."""

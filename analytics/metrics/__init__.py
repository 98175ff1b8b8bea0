"""One metric per module: from added-up rollup rows to the number people read. `catalogue` lists them all."""

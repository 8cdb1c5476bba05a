"""`cas-tool`: one module per verb."""

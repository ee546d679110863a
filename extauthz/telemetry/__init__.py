"""What is told about decisions: metrics, decision records, a status page. Never a prompt."""

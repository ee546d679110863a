"""The classifier: a verified model directory, its tokenizer, its session, and what feeds them."""

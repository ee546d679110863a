"""What is found in a text without the classifier: exact, and linear in the text's length.

`search.find` is the way in.
"""

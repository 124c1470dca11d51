"""People read the answers: kept judgements, one reader's blind view, the local page, and what comes out of it.

store.py keeps, session.py is what one reader may see and say, server.py is the page, export.py the data for training.
"""

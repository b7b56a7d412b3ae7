"""What others read of the history without asking the program: documents of knowledge, and the folder that has them."""

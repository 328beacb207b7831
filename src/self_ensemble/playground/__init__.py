"""The playground without Gradio: what is asked and shown, its file, its HTML, its door."""

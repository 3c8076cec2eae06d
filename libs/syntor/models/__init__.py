"""Streaming chat with tools, whoever runs the model: local, Ollama, any OpenAI-compatible server, LiteLLM, scripted."""

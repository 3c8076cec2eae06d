"""Streaming chat with tools, for every provider: local, Ollama, any OpenAI-compatible server, LiteLLM, scripted."""

"""Many conversations with a language model at once: transom beside asyncio and Node. Run ``python -m benchmarks.llm``."""

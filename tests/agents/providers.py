"""The real clients of two providers, three protocols in all, pointed at a server of the test."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

PROTOCOLS = ("responses", "chat", "anthropic")
PATIENCE_S = 30.0


@asynccontextmanager
async def client(protocol: str, url: str, timeout_s: float = PATIENCE_S) -> AsyncGenerator[Model, None]:
    """A model of this protocol with a client of its own, closed at the end. It never retries by itself."""
    if protocol == "anthropic":
        async with AsyncAnthropic(api_key="x", base_url=url, max_retries=0, timeout=timeout_s) as anthropic:
            yield AnthropicModel("claude-own", provider=AnthropicProvider(anthropic_client=anthropic))
        return
    async with AsyncOpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0, timeout=timeout_s) as openai:
        provider = OpenAIProvider(openai_client=openai)
        made = OpenAIChatModel if protocol == "chat" else OpenAIResponsesModel
        yield made("gpt-own", provider=provider)

"""The agent's model: OpenAI's, any compatible server's, or the offline stand-in.

The model is configured in the environment, or in a file `.env`:

    OPENAI_API_KEY   the key
    OPENAI_BASE_URL  where the model is, unless at OpenAI: any compatible server
    OPENAI_MODEL     its name there, unless openai-agents' own default

With neither a key nor a URL, `offline_model.py` takes the model's place.
"""

import os

import agents
import openai
from agents.models import get_default_model
from dotenv import find_dotenv, load_dotenv
from offline_model import OfflineModel

# What a run raises when the model can't be asked, or answers with something that makes no
# sense: the library trips over that in many ways.
MODEL_ERRORS = (
    openai.OpenAIError,
    agents.AgentsException,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


def choose_model() -> tuple[agents.Model, str]:
    """The model, and one line that says which it is."""
    load_dotenv(find_dotenv(usecwd=True))
    # By default the library sends a report of each run to OpenAI: see tracing_broken.py.
    agents.set_tracing_disabled(True)
    key = os.environ.get("OPENAI_API_KEY")
    url = os.environ.get("OPENAI_BASE_URL")
    if not key and not url:
        return OfflineModel(), "offline_model.py: no key, and not a language model"
    name = os.environ.get("OPENAI_MODEL") or get_default_model()
    # OpenAI has two interfaces. Other servers have this one too, "chat completions".
    model = agents.OpenAIChatCompletionsModel(
        model=name,
        openai_client=openai.AsyncOpenAI(api_key=key or "none", base_url=url or None),
    )
    return model, f"{name} at {url or 'OpenAI'}"

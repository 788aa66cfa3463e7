"""Facts about AWS KMS, which AWS itself has answered."""

from aws_facts import keys, names

FACTS = (*keys.FACTS, *names.FACTS)

//! What others take for AWS: moto's server, which knows how answers look, but not how strict they are.

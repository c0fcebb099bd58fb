//! The catalog format: what is built is found, and what is changed is refused.

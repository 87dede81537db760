//! Recipes as data: what a tree of recipes says, and the ids that follow from it.

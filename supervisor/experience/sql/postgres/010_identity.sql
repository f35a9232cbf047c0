-- Which store this is: positions are of one store, and another one may come to lie in its place. A copy is the same one.
ALTER TABLE ml_experience_store ADD COLUMN identity text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '');

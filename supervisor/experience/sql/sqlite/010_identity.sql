-- Which store this is: positions are of one store, and another one may come to lie in its place. A copy is the same one.
CREATE TABLE ml_experience_identity (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    id TEXT NOT NULL
);
INSERT INTO ml_experience_identity (single, id) VALUES (1, lower(hex(randomblob(16))));

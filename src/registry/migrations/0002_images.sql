-- What each component of a generation runs, as JSON; of generations made
-- before, nothing is known.
ALTER TABLE generations ADD COLUMN images TEXT;

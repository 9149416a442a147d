-- What every report's step looks up of its rollout: whom time alone makes count as something else next, and who of a wave was confirmed
-- last. Of a rollout that began a moment ago PostgreSQL has no statistics yet, takes whichever index fits a part of what is asked, and
-- reads all of the rollout by it. So each of these begins with a text that no other index begins with.
DROP INDEX rollout_device_by_turn;
DROP INDEX rollout_device_by_touch;
DROP INDEX rollout_device_by_standing;
CREATE INDEX rollout_device_by_turn ON rollout_device ((hdo || '/' || rollout), turns_ms) WHERE turns_ms IS NOT NULL;
CREATE INDEX rollout_device_by_touch ON rollout_device ((rollout || '/' || hdo), touched_ms);
CREATE INDEX rollout_device_by_confirmation ON rollout_device ((hdo || '/' || rollout || '/' || CAST(wave AS TEXT)), changed_ms)
    WHERE standing = 'confirmed';

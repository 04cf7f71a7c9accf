PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0001');
CREATE TABLE verdicts (
	id INTEGER NOT NULL, 
	route TEXT NOT NULL, 
	at_s FLOAT NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO verdicts VALUES(1,'fraud',99.0,'{"abort":false}');
CREATE TABLE rollouts (
	route TEXT NOT NULL, 
	state JSON NOT NULL, 
	verdict_id INTEGER, 
	PRIMARY KEY (route), 
	FOREIGN KEY(verdict_id) REFERENCES verdicts (id)
);
INSERT INTO rollouts VALUES('fraud','{"version":1,"route":"fraud","stable":"v1","candidate":"v2","candidate_digest":"c2","plan_digest":"p1","phase":"Waiting","verdict":"","reason":"waits for the first sample of the candidate","decided_by":"","step":1,"step_started_s":1.0,"started_s":1.0,"ended_s":null,"weight_ppm":50000,"mirror_ppm":0,"stage":2,"stage_started_s":1.0,"paused_by":"","attempt":1}',1);
CREATE TABLE evidence (
	route TEXT NOT NULL, 
	data BLOB, 
	cursor INTEGER NOT NULL, 
	PRIMARY KEY (route)
);
INSERT INTO evidence VALUES('fraud',X'6a75646765',7);
CREATE TABLE journal (
	id INTEGER NOT NULL, 
	at_s FLOAT NOT NULL, 
	route TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	text TEXT NOT NULL, 
	details JSON NOT NULL, 
	verdict_id INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(verdict_id) REFERENCES verdicts (id)
);
INSERT INTO journal VALUES(1,1.5,'','config','start','configuration live','{}',NULL);
INSERT INTO journal VALUES(2,2.0,'fraud','begin','rollout','begins','{}',NULL);
INSERT INTO journal VALUES(3,1796031318.3340740204,'fraud','step','ann','größer','{}',1);
CREATE TABLE configs (
	id INTEGER NOT NULL, 
	at_s FLOAT NOT NULL, 
	digest TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE numbers (
	name TEXT NOT NULL, 
	value INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO numbers VALUES('generation',5);
CREATE INDEX journal_by_route ON journal (route, id);
CREATE TRIGGER journal_refuses_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_refuses_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
COMMIT;

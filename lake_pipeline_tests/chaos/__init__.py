"""A lake under attack: who lands files, who works, who kills, and who checks what is left."""

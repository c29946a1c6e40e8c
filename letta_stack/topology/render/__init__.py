"""The forms of a topology for engines of many hosts, made from the model that compose renders. Pure: nothing is asked or started."""

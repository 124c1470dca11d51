"""The Modelfile as a value: build, render, parse."""

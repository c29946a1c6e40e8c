"""What starts and stops the containers of a project; compose is the one there is."""
